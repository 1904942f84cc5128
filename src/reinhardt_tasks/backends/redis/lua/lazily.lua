-- What a script may need and mostly does not: to define a function costs as much as to call it.

-- A table that `make` fills at the first look at it. Nothing is to be assigned to it before that.
local function lazily(make)
  return setmetatable({}, {__index = function(table, name)
    local made = make()
    setmetatable(table, {__index = made, __newindex = made})
    return made[name]
  end})
end
