-- Messages by id.
-- include: reading
--
-- ARGV: whether with their bodies (0 or 1), id, id, …
-- Answers a row (see reading) for each id, nil for an unknown one; for fewer than asked when that is enough for one call.

local body, ids, rows, at = ARGV[1] == '1', {unpack(ARGV, 2)}, {}, 1
repeat
  local part = reading.afford(ids, at, 100)
  for _, entry in ipairs(reading.entries(part)) do
    rows[#rows + 1] = entry and reading.row(entry, body)
    if reading.left <= 0 then
      return rows
    end
  end
  at = at + #part
until at > #ids
return rows
