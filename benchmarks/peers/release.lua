-- Gives up a participant's seat or place.
-- KEYS: seats, line (see admit.lua)
-- ARGV: id
return redis.call('HDEL', KEYS[1], ARGV[1]) + redis.call('ZREM', KEYS[2], ARGV[1])
