#!lua
-- Makes a dead letter a delivery again, due now; of several who ask at once, for one.
-- KEYS[1]   hooks:due   KEYS[2] hooks:deliveries   KEYS[3] hooks:dead
-- ARGV[1]   its entry in hooks:dead   ARGV[2] the id   ARGV[3] the delivery, JSON
-- Reply     1 if this call did it
local DAY_MS = 86400000
local call = redis.call
if call('XDEL', KEYS[3], ARGV[1]) == 0 then
    return 0
end
local time = call('TIME')
call('ZADD', KEYS[1], time[1] * 1000 + math.floor(time[2] / 1000), ARGV[2])
call('HSET', KEYS[2], ARGV[2], ARGV[3])
call('PEXPIRE', KEYS[1], 7 * DAY_MS)
call('PEXPIRE', KEYS[2], 7 * DAY_MS)
return 1
