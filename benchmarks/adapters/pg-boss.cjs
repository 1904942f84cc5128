// pg-boss, on Node; its bulk call is insert. The verbs are those of adapter.py.
'use strict';

const { PgBoss } = require('pg-boss');
const { stamper } = require('../stamps.cjs');

const NAME = 'benchmark';
const TEXT = 'x'.repeat(100);

// Connected to the database, in which the first one makes the tables and the queue.
async function started(job) {
  const boss = new PgBoss({ connectionString: job.address, ...job.settings.client });
  boss.on('error', (error) => process.stderr.write(`${error.stack}\n`));
  boss.on('warning', ({ message }) => process.stderr.write(`${message}\n`));
  await boss.start();
  await boss.createQueue(NAME, job.settings.queue);
  return boss;
}

// A connected producer.
async function producer(job) {
  const boss = await started(job);
  return {
    put: (number) => boss.send(NAME, { number, text: TEXT }),
    putMany: (numbers) => boss.insert(NAME, numbers.map((number) => ({ data: { number, text: TEXT } }))),
    close: () => boss.stop({ graceful: false }),
  };
}

// One worker in this process, until SIGTERM.
async function worker(job) {
  const stamp = stamper(job.stamps);
  const boss = await started(job);
  process.once('SIGTERM', async () => {
    await boss.stop();
    process.exit(0);
  });
  await boss.work(NAME, job.settings.worker, async (messages) => {
    for (const message of messages) stamp(message.data.number);
  });
}

module.exports = { producer, worker };
