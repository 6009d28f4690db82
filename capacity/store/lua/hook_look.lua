#!lua
-- Takes accounts whose hooks are to be looked for; nobody else is given them until the next look. Who was last noted longer ago than
-- any hub remembers it is given out for the last time. Who is to wait longer than that until the next look waits for a clock that was
-- set back, and is given out now.
-- KEYS[1]   hooks:accounts   KEYS[2] hooks:noted
-- ARGV[1]   time from one look to the next, ms   ARGV[2] how long an account is looked at after it was noted, ms   ARGV[3] how many at most
-- ARGV[4]   the account that this hub noted last, or ''
-- Reply     1, or 0 if the store knows nothing of ARGV[4]; then the accounts
local call = redis.call
local time = call('TIME')
local now = time[1] * 1000 + math.floor(time[2] / 1000)
local every, count = tonumber(ARGV[1]), math.min(tonumber(ARGV[3]), 500)
local reply = {(ARGV[4] == '' or call('ZSCORE', KEYS[2], ARGV[4])) and 1 or 0}
for _, range in ipairs({{'-inf', now}, {now + every + 1, '+inf'}}) do
    for _, account in ipairs(call('ZRANGE', KEYS[1], range[1], range[2], 'BYSCORE', 'LIMIT', 0, count)) do
        local noted = tonumber(call('ZSCORE', KEYS[2], account) or '0')
        if noted + tonumber(ARGV[2]) < now then
            call('ZREM', KEYS[1], account)
            call('ZREM', KEYS[2], account)
        else
            call('ZADD', KEYS[1], now + every, account)
        end
        table.insert(reply, account)
    end
end
return reply
