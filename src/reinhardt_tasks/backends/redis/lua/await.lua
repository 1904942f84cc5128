-- Have the end of a message told to a channel.
-- include: store
-- flags: allow-oom
--
-- ARGV: id, channel
-- Answers 1 when it will be told, 0 when the message is finished, nil when it is unknown.

local id, channel = ARGV[1], ARGV[2]
local entry = store.load({id})[1]
if not entry then
  return nil
elseif store.finished(entry) then
  return 0
end
local packed = redis.call('HGET', KEYS[1] .. 'awaited', id)
local channels = packed and cmsgpack.unpack(packed) or {}
for _, other in ipairs(channels) do
  if other == channel then
    return 1
  end
end
channels[#channels + 1] = channel
store.despite_full()
redis.call('HSET', KEYS[1] .. 'awaited', id, cmsgpack.pack(channels))
return 1
