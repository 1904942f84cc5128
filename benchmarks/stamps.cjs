// The slots of stamps.py for peers that run on Node, which maps no files: written in runs, once a turn of its event loop.
'use strict';

const fs = require('fs');

const SLOT = 8;

// The function a task calls with its message's number, first thing: it notes the moment, and writes it a little later.
function stamper(path) {
  const file = fs.openSync(path, 'r+');
  const times = new BigInt64Array(fs.fstatSync(file).size / SLOT);
  let pending = [];

  function write() {
    const numbers = pending;
    pending = [];
    for (let start = 0, end = 0; start < numbers.length; start = end) {
      end = start + 1;
      while (end < numbers.length && numbers[end] === numbers[end - 1] + 1) end += 1;
      fs.writeSync(file, times, numbers[start] * SLOT, (end - start) * SLOT, numbers[start] * SLOT);
    }
  }

  return (number) => {
    times[number] = process.hrtime.bigint();
    if (pending.length === 0) setImmediate(write);
    pending.push(number);
  };
}

// A function that reads one slot: a BigInt, 0n while the message has not run.
function reader(path) {
  const file = fs.openSync(path, 'r');
  const slot = Buffer.alloc(SLOT);
  return (number) => {
    fs.readSync(file, slot, 0, SLOT, number * SLOT);
    return slot.readBigInt64LE();
  };
}

module.exports = { stamper, reader };
