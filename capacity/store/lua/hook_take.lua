#!lua flags=allow-oom
-- Takes deliveries that are due, those that are due longest first. Nobody else is given them until the time is over.
-- KEYS[1]   hooks:due   KEYS[2] hooks:deliveries
-- ARGV[1]   for how long they are taken, ms   ARGV[2] how many at most
-- Reply     how many wait, due or not; now, seconds; then id and delivery, for each
local call = redis.call
local time = call('TIME')
local now = time[1] * 1000 + math.floor(time[2] / 1000)
local taken = {call('ZCARD', KEYS[1]), tonumber(time[1])}
local ids = call('ZRANGE', KEYS[1], '-inf', now, 'BYSCORE', 'LIMIT', 0, math.min(tonumber(ARGV[2]), 500))
for _, id in ipairs(ids) do
    local delivery = call('HGET', KEYS[2], id)
    if delivery then
        call('ZADD', KEYS[1], now + tonumber(ARGV[1]), id)
        table.insert(taken, id)
        table.insert(taken, delivery)
    else
        call('ZREM', KEYS[1], id)
    end
end
return taken
