-- Workers: what they hold, what they are told, and what becomes of that when they go.
-- include: store, line, endings
--
-- `worker:<id>` hash: beat (encoded by the client), beat_at, lease, suspected_at ('' or when), draining, heard (the tick
-- at its last exchange), rung (the tick of its last order), sequence (of its last exchange), alone (the message with
-- losses that it was last given). `workers` is the set of ids, `claims:<id>` and `cancels:<id>` what it holds and what
-- of that it is to cancel.

local leases = {}

-- End the claim on a running entry.
function leases.let_go(entry)
  store.set('claims:' .. entry.worker)[entry.id] = false
  if store.has(entry, MARK.CANCELLING) then
    store.set('cancels:' .. entry.worker)[entry.id] = false
  end
end

-- Order the worker that runs `entry` to cancel it.
function leases.order_cancel(entry)
  store.mark(entry, MARK.CANCELLING)
  if redis.call('SISMEMBER', KEYS[1] .. 'workers', entry.worker) == 1 then
    store.set('cancels:' .. entry.worker)[entry.id] = true
    store.order(entry.worker)
  end
end

-- Put a running entry back in its place in line, or end it: cancelled where that was ordered, or, with `lost`, as a dead
-- letter when it has lost too many workers. Answers whether it became a dead letter. For `lost` it needs its facts.
function leases.give_back(entry, lost)
  local worker = entry.worker
  leases.let_go(entry)
  if lost then
    entry.losses = entry.losses + 1
  end
  if store.has(entry, MARK.CANCELLING) then
    endings.finish(entry, STATUS.CANCELLED, '')
  elseif lost and entry.losses >= entry.facts.max_losses then
    local text = entry.losses .. ' workers died while they ran it, the last one was ' .. worker
    endings.finish(entry, STATUS.FAILURE, endings.error('WorkerLostError', text, 'poison'))
    return true
  else
    entry.worker = ''
    store.become(entry, STATUS.PENDING)
    line.up(entry)
  end
  return false
end

-- Take a worker off the list; how many of its messages were given back, and how many became dead letters.
function leases.dismiss(worker, lost)
  local ids = redis.call('SMEMBERS', KEYS[1] .. 'claims:' .. worker)
  local entries, poisoned = store.known(ids), 0
  if lost then
    store.facts(entries)
  end
  table.sort(entries, function(one, other) return one.place < other.place end)
  for _, entry in ipairs(entries) do
    if leases.give_back(entry, lost) then
      poisoned = poisoned + 1
    end
  end
  bells.off(worker)
  store.command('DEL', 'claims:' .. worker)
  store.command('DEL', 'cancels:' .. worker)
  store.set('workers')[worker] = false
  store.command('DEL', 'worker:' .. worker)
  return #entries - poisoned, poisoned
end

-- What a worker is told: {registered, draining, id, …} (what to cancel).
function leases.orders(worker, registered, draining)
  local cancels = redis.call('SMEMBERS', KEYS[1] .. 'cancels:' .. worker)
  return {registered and 1 or 0, draining and 1 or 0, unpack(cancels)}
end

-- Note what a worker tells of the progress of a message it runs.
function leases.note(worker, entry, number, progress)
  if entry and entry.status == STATUS.RUNNING and entry.number == number and entry.worker == worker then
    store.hash('progress')[entry.id] = progress
    entry.updated_at = store.now
    store.mark(entry, MARK.PROGRESS)
  end
end
