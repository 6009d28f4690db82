#!lua
-- Takes accounts whose hooks are to be looked for; nobody else is given them until the next look. Who was last noted longer ago than
-- any hub remembers it is given out for the last time.
-- KEYS[1]   hooks:accounts   KEYS[2] hooks:noted
-- ARGV[1]   time from one look to the next, ms   ARGV[2] how long an account is looked at after it was noted, ms   ARGV[3] how many at most
-- Reply     the accounts
local call = redis.call
local time = call('TIME')
local now = time[1] * 1000 + math.floor(time[2] / 1000)
local accounts = call('ZRANGE', KEYS[1], '-inf', now, 'BYSCORE', 'LIMIT', 0, math.min(tonumber(ARGV[3]), 500))
for _, account in ipairs(accounts) do
    local noted = tonumber(call('ZSCORE', KEYS[2], account) or '0')
    if noted + tonumber(ARGV[2]) < now then
        call('ZREM', KEYS[1], account)
        call('ZREM', KEYS[2], account)
    else
        call('ZADD', KEYS[1], now + tonumber(ARGV[1]), account)
    end
end
return accounts
