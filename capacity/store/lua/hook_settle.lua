#!lua flags=allow-oom
-- Settles a try to deliver: the delivery is done, it is tried again later, or it becomes a dead letter. Whose delivery somebody else
-- has settled for good meanwhile changes nothing.
-- KEYS[1]   hooks:due   KEYS[2] hooks:deliveries   KEYS[3] hooks:dead
-- ARGV[1]   the id   ARGV[2] when it is tried again, ms from now, or ''   ARGV[3] the delivery as it is now, JSON
-- ARGV[4]   the dead letter, JSON, or ''
-- Reply     1 if this call settled it
local DAY_MS = 86400000
local DEAD_MAX = 10000
local call = redis.call
local id, again_ms, delivery, letter = unpack(ARGV)

if call('HEXISTS', KEYS[2], id) == 0 then
    return 0
end
local time = call('TIME')
local now = time[1] * 1000 + math.floor(time[2] / 1000)
if again_ms ~= '' then
    call('HSET', KEYS[2], id, delivery)
    call('ZADD', KEYS[1], now + tonumber(again_ms), id)
    return 1
end
call('HDEL', KEYS[2], id)
call('ZREM', KEYS[1], id)
if letter ~= '' then
    call('XADD', KEYS[3], 'MAXLEN', '~', DEAD_MAX, '*', 'letter', letter)
    call('XTRIM', KEYS[3], 'MINID', '~', now - 30 * DAY_MS)
    call('PEXPIRE', KEYS[3], 30 * DAY_MS)
end
return 1
