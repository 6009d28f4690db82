#!lua
-- Sets an event aside with the reason, and acknowledges it.
-- KEYS[1]   plan-changes   KEYS[2] plan-changes:rejected
-- ARGV[1]   consumer group   ARGV[2] entry id   ARGV[3] the event as it came   ARGV[4] the reason
redis.call('XADD', KEYS[2], '*', 'event', ARGV[3], 'reason', ARGV[4])
return redis.call('XACK', KEYS[1], ARGV[1], ARGV[2])
