#!lua flags=allow-oom
-- A hub says that it lives, and sees what the others say.
-- KEYS[1]   the beats
-- KEYS[2]   what this hub says of itself
-- ARGV[1]   the hub
-- ARGV[2]   what it says of itself, JSON (capacity/hub/status.py), and ARGV[3] for how many ms that is kept
-- Reply     hub, counter, for each
redis.call('HINCRBY', KEYS[1], ARGV[1], 1)
redis.call('SET', KEYS[2], ARGV[2], 'PX', ARGV[3])
return redis.call('HGETALL', KEYS[1])
