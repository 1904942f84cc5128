-- Change records, each if it may be.
-- include: metadata
-- flags: allow-oom
--
-- ARGV: seconds that a finished one is kept, then for each: id, new status (-1: as it is), the statuses as bits from
-- which it may be reached, the version that is asked for ('': any), and '=' with other data ('': as they are)
-- Answers for each {} where there is no record, or {status, version} as it stood before, and, where it was changed, the
-- row as it is now (see metadata.lua); its data are '' where they were given.

local ids, answer = {}, {}
for n = 2, #ARGV, 5 do
  ids[#ids + 1] = ARGV[n]
end

local function allowed(entry, status, sources, version)
  return (version == '' or version == string.format('%.0f', entry.version))
    and (status < 0 or bit.band(sources, 2 ^ entry.status) > 0)
end

metadata.forget()
for n, entry in ipairs(metadata.load(ids)) do
  local status, sources, version, given = unpack(ARGV, 5 * n - 2, 5 * n + 1)
  status = tonumber(status)
  answer[n] = entry.there and {entry.status, entry.version} or {}
  if entry.there and allowed(entry, status, tonumber(sources), version) then
    if status >= 0 then
      metadata.become(entry, status, tonumber(ARGV[1]))
    end
    entry.version, entry.updated = entry.version + 1, metadata.now
    metadata.touch(entry, given ~= '' and given:sub(2) or nil)
    answer[n][3] = metadata.row(entry, given == '' and metadata.data(entry) or '')
  end
end
metadata.commit(true)
return answer
