-- Put a worker among the sleepers, unless something has happened for it since its last exchange.
-- include: line
-- flags: allow-oom
--
-- ARGV: worker, channel of its instance, seconds that it would sleep, whether it sleeps already for other queues (0 or
-- 1), whether it serves all queues (0 or 1), queue, …
-- Answers the seconds after which it has to look by itself, because something falls due then; nil when it has to now.

local worker = ARGV[1]
local queues = ARGV[5] == '1' and {''} or {unpack(ARGV, 6)}
local kept = redis.call('HMGET', KEYS[1] .. 'worker:' .. worker, 'heard', 'rung')
local heard = tonumber(kept[1] or 0)

local function rang(tick)
  return tick and tonumber(tick) > heard
end

if rang(kept[2]) then
  return nil
end
for _, tick in ipairs(store.read('rings', queues)) do
  if rang(tick) then
    return nil
  end
end

-- When the next message falls due, or a suspect has waited so long that a worker is emptied for it.
local function next_moment()
  local moment = line.next_due() or math.huge
  for _, queue in ipairs(redis.call('SMEMBERS', KEYS[1] .. 'suspected')) do
    local id = redis.call('ZRANGE', KEYS[1] .. 'suspects:' .. queue, 0, 0)[1]
    local entry = id and store.load({id})[1]
    if entry and entry.ready_at + PATIENCE > store.now then
      moment = math.min(moment, entry.ready_at + PATIENCE)
    end
  end
  return moment
end

local seconds = math.max(0, math.min(tonumber(ARGV[3]), next_moment() - store.now))
store.despite_full()
bells.sleep(worker, ARGV[2], store.now + seconds, queues, ARGV[4] == '1')
return string.format('%.17g', seconds)
