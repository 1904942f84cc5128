-- Workflows that were put in several steps, held, and then started, or dropped because they never were.
-- include: store, line, endings
-- lazily
--
-- `held:<workflow>` is the list of what is held for it. When it starts, that list becomes `opening:<workflow>` and its
-- messages are let go in order, at most `openings.budget` in one unit of work, the rest by the next exchanges and sweeps
-- (`opening` is the set of workflows with such a rest).

local openings = {budget = 500}

-- Let go what is on the list of a workflow that was started, as far as the budget goes; how many were held.
local function let_go(workflow)
  local word, count = 'opening:' .. workflow, 0
  local ids = redis.call('LRANGE', KEYS[1] .. word, 0, openings.budget - 1)
  openings.budget = openings.budget - #ids
  for _, entry in ipairs(store.load(ids)) do
    if entry and store.has(entry, MARK.HELD) then
      count = count + 1
      store.unmark(entry, MARK.HELD)
      store.zset('held')[entry.id] = false
      if not store.finished(entry) then
        line.up(entry)
      end
    end
  end
  store.command('LTRIM', word, #ids, -1)
  if openings.budget > 0 then
    store.set('opening')[workflow] = false
  end
  return count
end

-- Start a workflow; whether anything was held for it.
function openings.start(workflow)
  if redis.call('EXISTS', KEYS[1] .. 'held:' .. workflow) == 0 then
    return false
  end
  if redis.call('RENAMENX', KEYS[1] .. 'held:' .. workflow, KEYS[1] .. 'opening:' .. workflow) == 0 then
    store.send('RPUSH', 'opening:' .. workflow, redis.call('LRANGE', KEYS[1] .. 'held:' .. workflow, 0, -1))
    redis.call('DEL', KEYS[1] .. 'held:' .. workflow)
  end
  store.set('opening')[workflow] = true
  return let_go(workflow) > 0
end

-- Go on with what earlier units of work have left.
function openings.go_on()
  if redis.call('EXISTS', KEYS[1] .. 'opening') == 1 then
    for _, workflow in ipairs(redis.call('SMEMBERS', KEYS[1] .. 'opening')) do
      if openings.budget > 0 then
        let_go(workflow)
      end
    end
  end
end
