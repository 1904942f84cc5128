-- Settle what a worker tells, promote what is due, claim for it: one step.
-- include: claims, settling, openings, keeping
-- flags: allow-oom
--
-- ARGV: worker, sequence, want, whether it is awake (0 or 1: it may still stand among the sleepers), number of queues
-- (-1: all), number of queues that it was woken for (-1: all), number of held ids (-1: no repeat), number of reports;
-- then the queues, those it was woken for, the held ids, {token, progress} of each report, and the outcomes: token |
-- kind | whether unknown (a byte each) | delay (8 bytes) | payload. A token is the id (16 bytes) and the number of the
-- claim (4 bytes).
-- Answers {what the fence says, a byte for each outcome, orders (see leases.orders), claims: id, what was put, state
-- ('' in a first run of which nothing else is known), …}.

local LATE = 60
local worker = ARGV[1]
local at = 9

local function arguments(count)
  if count < 0 then
    return nil
  end
  local first = at
  at = at + count
  local values = {}
  for n = 1, count do
    values[n] = ARGV[first + n - 1]
  end
  return values
end

local queues, woken = arguments(tonumber(ARGV[5])), arguments(tonumber(ARGV[6]))
local held, reports = arguments(tonumber(ARGV[7])), arguments(2 * tonumber(ARGV[8]))
local outcomes = arguments(#ARGV - at + 1)

-- Note what the worker tells of the progress of what it runs.
local function note_all()
  local ids = {}
  for n = 1, #reports, 2 do
    ids[#ids + 1] = reports[n]:sub(1, 16)
  end
  store.load(ids)
  for n = 1, #reports, 2 do
    local id, number = struct.unpack('>c16I', reports[n])
    leases.note(worker, store.entries[id], number, reports[n + 1])
  end
end

local record = redis.call('HMGET', KEYS[1] .. 'worker:' .. worker, 'beat_at', 'draining', 'sequence', 'alone',
  'heard')
local registered, draining = record[1] ~= false, record[2]
local current = tonumber(ARGV[2]) >= tonumber(record[3] or 0)
local given = {}

store.despite_full()
if ARGV[4] == '1' then
  bells.off(worker)
end
if reports[1] then
  note_all()
end
local said = outcomes[1] and settling.all(worker, outcomes) or ''
if redis.call('EXISTS', KEYS[1] .. 'fans', KEYS[1] .. 'opening') > 0 then
  endings.go_on()
  openings.go_on()
end
line.promote(500)
if registered then
  if held then
    claims.recall(worker, held, given)
  end
  if current and not draining then
    claims.claim(worker, tonumber(ARGV[3]), queues, record[4], given)
  end
end
-- Where much ends, sweeps alone would not keep up with what is over.
if outcomes[1] then
  keeping.expire(store.now - LATE, 2 * #outcomes)
end
if given[1] then
  quick.write_claims(worker)
end
store.commit()
if registered and current then
  redis.call('HSET', KEYS[1] .. 'worker:' .. worker, 'heard', store.ticks(), 'sequence', ARGV[2])
end
claims.pass_on(woken, tonumber(record[5] or 0))
return {said, leases.orders(worker, registered, draining), given}
