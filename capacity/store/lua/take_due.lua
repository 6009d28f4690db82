#!lua
-- Takes accounts for which the billing desk has something to do. Nobody else is given them until the time is over.
-- KEYS[1]   due
-- ARGV[1]   now, ms   ARGV[2] until when they are taken, ms   ARGV[3] how many at the most
-- Reply     the accounts, those that are due longest first
local accounts = redis.call('ZRANGE', KEYS[1], '-inf', ARGV[1], 'BYSCORE', 'LIMIT', 0, math.min(tonumber(ARGV[3]), 500))
for _, account in ipairs(accounts) do
    redis.call('ZADD', KEYS[1], ARGV[2], account)
end
return accounts
