#!lua
-- Tells the clock of the node that has the desk.
-- KEYS[1]   any key of that node
-- Reply     now, ms
local time = redis.call('TIME')
return string.format('%.0f', time[1] * 1000 + math.floor(time[2] / 1000))
