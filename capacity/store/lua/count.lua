#!lua
-- Counts what is asked within a time that begins with the first.
-- KEYS[1]   the count
-- ARGV[1]   the time, ms
-- Reply     how often it was asked, this time included
local count = redis.call('INCR', KEYS[1])
if count == 1 then
    redis.call('PEXPIRE', KEYS[1], ARGV[1])
end
return count
