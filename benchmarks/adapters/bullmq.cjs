// BullMQ, on Node; its bulk call is addBulk. The verbs are those of adapter.py.
'use strict';

const { Queue, Worker } = require('bullmq');
const { stamper } = require('../stamps.cjs');

const NAME = 'benchmark';
const TEXT = 'x'.repeat(100);

const connection = (job) => {
  const { hostname, port } = new URL(job.address);
  return { host: hostname, port: Number(port), ...job.settings.client };
};

// A connected producer.
async function producer(job) {
  const queue = new Queue(NAME, { connection: connection(job), defaultJobOptions: job.settings.job });
  await queue.waitUntilReady();
  return {
    put: (number) => queue.add('noop', { number, text: TEXT }),
    putMany: (numbers) => queue.addBulk(numbers.map((number) => ({ name: 'noop', data: { number, text: TEXT } }))),
    close: () => queue.close(),
  };
}

// One worker in this process, until SIGTERM.
async function worker(job) {
  const stamp = stamper(job.stamps);
  const noop = async (message) => stamp(message.data.number);
  const working = new Worker(NAME, noop, { connection: connection(job), ...job.settings.worker });
  working.on('error', (error) => process.stderr.write(`${error.stack}\n`));
  process.once('SIGTERM', async () => {
    await working.close();
    process.exit(0);
  });
}

module.exports = { producer, worker };
