-- Settle what a worker tells, promote what is due, claim for it: one step.
-- include: claims, openings, keeping
-- flags: allow-oom
--
-- ARGV: worker, sequence, want, whether it is awake (0 or 1: it may still stand among the sleepers), number of queues
-- (-1: all), number of queues that it was woken for (-1: all), number of held ids (-1: no repeat), number of reports;
-- then the queues, those it was woken for, the held ids, {token, progress} of each report, and the outcomes: token |
-- kind | whether unknown (a byte each) | delay (8 bytes) | payload. A token is the id (16 bytes) and the number of the
-- claim (4 bytes).
-- Answers {what the fence says, a byte for each outcome, orders (see leases.orders), claims: id, what was put, state
-- ('' in a first run of which nothing else is known), …}.

local DONE, ALREADY, LOST = '\0', '\1', '\2'
local SUCCESS, FAILURE, RETRY, CANCELLED = 0, 1, 2, 4
local ENDS = {[SUCCESS] = STATUS.SUCCESS, [FAILURE] = STATUS.FAILURE, [CANCELLED] = STATUS.CANCELLED}
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

local function run_again(entry, kind, delay, payload)
  local retry = kind == RETRY
  entry.worker = ''
  if retry then
    endings.keep_error(entry, payload)
  end
  if retry or delay > 0 then
    entry.run_at, entry.place = store.now + delay, 0
  end
  store.become(entry, retry and STATUS.RETRY or STATUS.PENDING)
  line.up(entry)
end

local function settle(entry, number, kind, unknown, delay, payload)
  if not entry then
    return LOST
  end
  if entry.status ~= STATUS.RUNNING or entry.number ~= number or entry.worker ~= worker then
    return entry.settler == worker and entry.settled == number and ALREADY or LOST
  end
  leases.let_go(entry)
  entry.settler, entry.settled = worker, number
  if kind == RETRY or kind == FAILURE then
    entry.attempts = entry.attempts + 1
  end
  entry.unknowns = entry.unknowns + unknown
  if ENDS[kind] then
    endings.finish(entry, ENDS[kind], payload)
  elseif store.has(entry, MARK.CANCELLING) then
    endings.finish(entry, STATUS.CANCELLED, '')
  else
    run_again(entry, kind, delay, payload)
  end
  return DONE
end

-- Settle what goes the short way; `said` gets the answers. What a report has loaded goes the long way: commit would write
-- it over what is written here.
local function settle_quickly(said)
  local ids = {}
  for n = 1, #outcomes do
    ids[n] = outcomes[n]:sub(1, 16)
  end
  local states, seen, tail = store.read('states', ids), {}, quick.tail(worker)
  local links = redis.call('EXISTS', KEYS[1] .. 'children') == 1 and store.read('children', ids) or {}
  for n = 1, #outcomes do
    local id, told = ids[n], outcomes[n]
    if not seen[id] and not store.entries[id] and states[n] and not links[n] and told:byte(21) == SUCCESS
      and quick.settle(id, states[n], told, tail) then
      said[n] = DONE
    end
    seen[id] = true
  end
  quick.write_ends(worker)
end

local function settle_all()
  local said, ids = {}, {}
  settle_quickly(said)
  for n = 1, #outcomes do
    if not said[n] then
      ids[#ids + 1] = outcomes[n]:sub(1, 16)
    end
  end
  store.load(ids)
  for n = 1, #outcomes do
    if not said[n] then
      local id, number, kind, unknown, delay, at = struct.unpack('>c16IBBd', outcomes[n])
      said[n] = settle(store.entries[id], number, kind, unknown, delay, outcomes[n]:sub(at))
    end
  end
  return table.concat(said)
end

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
note_all()
local said = settle_all()
endings.tell()
endings.go_on()
openings.go_on()
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
quick.write_claims(worker)
store.commit()
if registered and current then
  redis.call('HSET', KEYS[1] .. 'worker:' .. worker, 'heard', store.ticks(), 'sequence', ARGV[2])
end
claims.pass_on(woken, tonumber(record[5] or 0))
return {said, leases.orders(worker, registered, draining), given}
