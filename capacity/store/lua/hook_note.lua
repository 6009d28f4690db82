#!lua flags=allow-oom
-- A hub will make calls for an account, in whose rooms something may happen that is to be sent on: somebody will look for it.
-- KEYS[1]   hooks:accounts   KEYS[2] hooks:noted
-- ARGV[1]   the account   ARGV[2] after how long it is looked at, ms
local time = redis.call('TIME')
local now = time[1] * 1000 + math.floor(time[2] / 1000)
redis.call('ZADD', KEYS[1], 'NX', now + tonumber(ARGV[2]), ARGV[1])
redis.call('ZADD', KEYS[2], now, ARGV[1])
