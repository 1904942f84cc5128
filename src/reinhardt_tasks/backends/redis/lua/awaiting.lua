-- Who waits for something that is kept in a store.
--
-- `<kind>:awaiting:<id>` zset: the channels of those who wait, by when they stop. What is published is the first letter
-- of the kind and the id.

local awaiting = {}

local function key(kind, id)
  return KEYS[1] .. kind .. ':awaiting:' .. id
end

-- Have `channel` told of it within the next `seconds`.
function awaiting.listen(kind, id, channel, seconds)
  local now = tonumber(redis.call('TIME')[1])
  -- A removing command first: on servers without flags it lets the script go on when memory is full.
  redis.call('ZREMRANGEBYSCORE', key(kind, id), '-inf', '(' .. now)
  redis.call('ZADD', key(kind, id), 'GT', now + math.ceil(seconds) + 1, channel)
  if redis.call('TTL', key(kind, id)) < seconds + 2 then
    redis.call('EXPIRE', key(kind, id), math.ceil(seconds) + 2)
  end
end

-- It is there, or gone for good: those who wait are to look.
function awaiting.tell(kind, id)
  local channels = redis.call('ZRANGE', key(kind, id), 0, -1)
  for n = 1, #channels do
    redis.call('PUBLISH', channels[n], kind:sub(1, 1) .. id)
  end
  if channels[1] then
    redis.call('DEL', key(kind, id))
  end
end
