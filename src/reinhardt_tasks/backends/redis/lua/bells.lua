-- Wake-ups: who sleeps, what rang when, and whom to tell. Used through `store.ring`, `store.commit` and these functions.
--
-- A worker that waits is asleep: `asleep` (hash: worker → {until, channel, queue, …} packed; '' is every queue) and
-- `asleep:<queue>` (zset: worker by until). Waking takes it off. PUBLISH goes to the channel of its backend instance,
-- and an instance that hears no more does not count as woken. What is published is `w<worker>`, `m<id>` or `s`.
-- A worker that is just about to sleep compares `rings` (hash: queue → tick; '' for any) and the `rung` of its own
-- record with the tick that it `heard` in its last exchange, so that nothing in between is missed.

local bells = {now = nil}

-- Take `worker` off the sleepers. Answers its {until, channel, queue, …}, nil when it is not asleep.
function bells.off(worker)
  local packed = redis.call('HGET', KEYS[1] .. 'asleep', worker)
  if not packed then
    return nil
  end
  local sleeper = cmsgpack.unpack(packed)
  for n = 3, #sleeper do
    redis.call('ZREM', KEYS[1] .. 'asleep:' .. sleeper[n], worker)
  end
  redis.call('HDEL', KEYS[1] .. 'asleep', worker)
  return sleeper
end

-- Put `worker` among the sleepers of `queues` until then, to be told on `channel`; with `too`, beside those for which
-- it sleeps already.
function bells.sleep(worker, channel, till, queues, too)
  local before, sleeper, seen = bells.off(worker), {till, channel}, {}
  local function add(queue)
    if not seen[queue] then
      seen[queue] = true
      sleeper[#sleeper + 1] = queue
    end
  end
  for n = 1, #queues do
    add(queues[n])
  end
  if before and too then
    sleeper[1] = math.max(till, before[1])
    for n = 3, #before do
      add(before[n])
    end
  end
  redis.call('HSET', KEYS[1] .. 'asleep', worker, cmsgpack.pack(sleeper))
  for n = 3, #sleeper do
    redis.call('ZADD', KEYS[1] .. 'asleep:' .. sleeper[n], sleeper[1], worker)
  end
end

-- Wake `worker` if it sleeps and still listens.
function bells.rouse(worker)
  local sleeper = bells.off(worker)
  return sleeper ~= nil and sleeper[1] > bells.now and redis.call('PUBLISH', sleeper[2], 'w' .. worker) > 0
end

-- Wake at most `count` of those that serve `queue`.
function bells.wake(queue, count)
  for _, name in ipairs({queue, ''}) do
    local key = KEYS[1] .. 'asleep:' .. name
    while count > 0 do
      local workers = redis.call('ZRANGE', key, 0, math.min(count, 100) - 1)
      if not workers[1] then
        break
      end
      for n = 1, #workers do
        if bells.rouse(workers[n]) then
          count = count - 1
        end
        redis.call('ZREM', key, workers[n])
      end
    end
  end
end

-- Tell those who wait for the end of the messages `ids` (`awaited` hash: id → {channel, …} packed).
function bells.ended(ids)
  if redis.call('EXISTS', KEYS[1] .. 'awaited') == 0 then
    return
  end
  for first = 1, #ids, 1000 do
    local last = math.min(first + 999, #ids)
    local waiting = redis.call('HMGET', KEYS[1] .. 'awaited', unpack(ids, first, last))
    for n = first, last do
      local packed = waiting[n - first + 1]
      if packed then
        redis.call('HDEL', KEYS[1] .. 'awaited', ids[n])
        for _, channel in ipairs(cmsgpack.unpack(packed)) do
          redis.call('PUBLISH', channel, 'm' .. ids[n])
        end
      end
    end
  end
end
