// Graphile Worker, on Node; its bulk call is addJobs. The verbs are those of adapter.py.
'use strict';

const { Logger, makeWorkerUtils, run } = require('graphile-worker');
const { stamper } = require('../stamps.cjs');

const TEXT = 'x'.repeat(100);
const LOUD = new Set(['error', 'warning']);

const logger = new Logger(() => (level, message) => {
  if (LOUD.has(level)) process.stderr.write(`${message}\n`);
});

const preset = (job) => ({ worker: { connectionString: job.address, logger, ...job.settings.worker } });

// A connected producer; the first one makes the tables.
async function producer(job) {
  const utils = await makeWorkerUtils({ preset: preset(job) });
  await utils.migrate();
  return {
    put: (number) => utils.addJob('noop', { number, text: TEXT }),
    putMany: (numbers) =>
      utils.addJobs(numbers.map((number) => ({ identifier: 'noop', payload: { number, text: TEXT } }))),
    close: () => utils.release(),
  };
}

// One worker in this process, until SIGTERM.
async function worker(job) {
  const stamp = stamper(job.stamps);
  const noop = async ({ number }) => stamp(number);
  const working = await run({ preset: preset(job), taskList: { noop } });
  await working.promise;
}

module.exports = { producer, worker };
