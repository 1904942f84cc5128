-- Settling what a worker has run, by its token: the fence.
-- include: store, line, endings, leases, quick
-- lazily

local settling = {}

local DONE, ALREADY, LOST = '\0', '\1', '\2'
local SUCCESS, FAILURE, RETRY, CANCELLED = 0, 1, 2, 4
local ENDS = {[SUCCESS] = STATUS.SUCCESS, [FAILURE] = STATUS.FAILURE, [CANCELLED] = STATUS.CANCELLED}

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

local function settle(worker, entry, number, kind, unknown, delay, payload)
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
local function settle_quickly(worker, outcomes, said)
  local ids = {}
  for n = 1, #outcomes do
    ids[n] = outcomes[n]:sub(1, 16)
  end
  local states, seen, linked, tail = store.read('states', ids), {}, {}, quick.tail(worker)
  local links = redis.call('EXISTS', KEYS[1] .. 'children') == 1 and store.read('children', ids) or {}
  for n = 1, #outcomes do
    local id, told = ids[n], outcomes[n]
    if not seen[id] and not store.entries[id] and states[n] and told:byte(21) == SUCCESS
      and quick.settle(id, states[n], told, tail) then
      said[n] = DONE
      linked[#linked + 1] = links[n] and n or nil
    end
    seen[id] = true
  end
  quick.write_ends(worker)
  if linked[1] then
    endings.tell_successes(ids, links, linked)
  end
end

-- Settle those that did not go the short way, and tell what waits for them.
local function settle_slowly(worker, outcomes, said)
  local ids = {}
  for n = 1, #outcomes do
    if not said[n] then
      ids[#ids + 1] = outcomes[n]:sub(1, 16)
    end
  end
  if not ids[1] then
    return
  end
  store.load(ids)
  for n = 1, #outcomes do
    if not said[n] then
      local id, number, kind, unknown, delay, at = struct.unpack('>c16IBBd', outcomes[n])
      said[n] = settle(worker, store.entries[id], number, kind, unknown, delay, outcomes[n]:sub(at))
    end
  end
  endings.tell()
end

-- Settle the outcomes of `worker` (see exchange); answers what the fence says, a byte for each.
function settling.all(worker, outcomes)
  local said = {}
  settle_quickly(worker, outcomes, said)
  settle_slowly(worker, outcomes, said)
  return table.concat(said)
end
