-- The order of ids, which is that of their bytes, and of time.

local order = {}

-- Whether the id `a` is above `b`. Lua itself would compare them as words of the server's language.
function order.newer(a, b)
  local a1, a2, a3, a4 = struct.unpack('>I4I4I4I4', a)
  local b1, b2, b3, b4 = struct.unpack('>I4I4I4I4', b)
  if a1 ~= b1 then
    return a1 > b1
  elseif a2 ~= b2 then
    return a2 > b2
  elseif a3 ~= b3 then
    return a3 > b3
  end
  return a4 > b4
end
