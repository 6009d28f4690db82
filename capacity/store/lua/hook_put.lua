#!lua
-- Puts events into the queue of every endpoint, each event once; into a queue that is full, none.
-- KEYS      hooks:due and hooks:deliveries of each endpoint, then hooks:known of each event
-- ARGV[1]   number of endpoints   ARGV[2] the most that may wait for an endpoint
-- ARGV[3…]  id and delivery, JSON, of each event
-- Reply     how many deliveries found no room
local DAY_MS = 86400000
local call = redis.call
local endpoints, waiting_max = tonumber(ARGV[1]), tonumber(ARGV[2])
local time = call('TIME')
local now = time[1] * 1000 + math.floor(time[2] / 1000)

local free = {}
for endpoint = 1, endpoints do
    free[endpoint] = waiting_max - call('ZCARD', KEYS[2 * endpoint - 1])
end
local refused = 0
for event = 1, #KEYS - 2 * endpoints do
    local id, delivery = ARGV[1 + 2 * event], ARGV[2 + 2 * event]
    if call('SET', KEYS[2 * endpoints + event], '', 'NX', 'PX', DAY_MS) then
        for endpoint = 1, endpoints do
            if free[endpoint] > 0 then
                free[endpoint] = free[endpoint] - 1
                call('ZADD', KEYS[2 * endpoint - 1], now, id)
                call('HSET', KEYS[2 * endpoint], id, delivery)
            else
                refused = refused + 1
            end
        end
    end
end
for key = 1, 2 * endpoints do
    call('PEXPIRE', KEYS[key], 7 * DAY_MS)
end
return refused
