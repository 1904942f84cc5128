// What peer.py does, for peers that run on Node: `node peer.cjs ADAPTER VERB ARGUMENTS`; answers one line of JSON.
'use strict';

const fs = require('fs');
const path = require('path');
const { reader } = require('./stamps.cjs');

const WARM_UP = 100; // as in peer.py, like all that follow
const IN_FLIGHT = 100;
const BULK = 1000;
const LOOK = 1; // milliseconds; no timer is shorter
const PATIENCE = 30_000;

const job = JSON.parse(process.env.BENCHMARK_JOB);

async function oneByOne(producer, numbers) {
  for (const number of numbers) await producer.put(number);
}

async function allAtOnce(producer, numbers) {
  const shared = numbers[Symbol.iterator]();
  const lane = async () => {
    for (let next = shared.next(); !next.done; next = shared.next()) await producer.put(next.value);
  };
  await Promise.all(Array.from({ length: IN_FLIGHT }, lane));
}

async function inBulk(producer, numbers) {
  for (let start = 0; start < numbers.length; start += BULK) await producer.putMany(numbers.slice(start, start + BULK));
}

const range = (count) => Array.from({ length: count }, (_, number) => number);

async function timed(put, producer, messages) {
  await put(producer, range(WARM_UP));
  const numbers = range(messages);
  const started = process.hrtime.bigint();
  await put(producer, numbers);
  return { messages, seconds: Number(process.hrtime.bigint() - started) / 1e9 };
}

const pause = (milliseconds) => new Promise((resume) => setTimeout(resume, milliseconds));

async function latency(producer, { warm_up: warmUp, messages }) {
  const slot = reader(job.stamps);
  const took = [];
  for (let number = 0; number < warmUp + messages; number += 1) {
    const putAt = process.hrtime.bigint();
    await producer.put(number);
    while (slot(number) === 0n) {
      if (Number(process.hrtime.bigint() - putAt) / 1e6 > PATIENCE) throw new Error(`message ${number} was not run`);
      await pause(LOOK);
    }
    took.push(Number(slot(number) - putAt) / 1e6);
    await pause(4 + 8 * Math.random());
  }
  return { milliseconds: took.slice(warmUp) };
}

const PRODUCING = {
  fill: async (producer, { messages }) => {
    await inBulk(producer, range(messages));
    return {};
  },
  single: (producer, { messages }) => timed(oneByOne, producer, messages),
  gathered: (producer, { messages }) => timed(allAtOnce, producer, messages),
  bulk: (producer, { messages }) => timed(inBulk, producer, messages),
  latency,
};

// Interpreter and packages of this environment.
function describe() {
  const modules = process.env.NODE_PATH;
  const packages = {};
  const look = (directory) => {
    for (const name of fs.readdirSync(path.join(modules, directory))) {
      const at = path.join(directory, name);
      if (name.startsWith('@')) look(at);
      else if (!name.startsWith('.')) {
        packages[at] = JSON.parse(fs.readFileSync(path.join(modules, at, 'package.json'), 'utf8')).version;
      }
    }
  };
  look('');
  return { runtime: `Node ${process.versions.node}`, packages, store: {} };
}

async function main(name, verb, text) {
  const adapter = require(`./adapters/${name}.cjs`);
  const wanted = JSON.parse(text);
  if (verb === 'worker') return adapter.worker(job);
  let answer;
  if (verb === 'describe') answer = describe();
  else {
    const producer = await adapter.producer(job);
    answer = await PRODUCING[verb](producer, wanted);
    await producer.close();
  }
  process.stdout.write(`${JSON.stringify(answer)}\n`);
}

main(...process.argv.slice(2)).catch((error) => {
  process.stderr.write(`${error.stack}\n`);
  process.exit(1);
});
