#!lua
-- Moves an event that was set aside back into the stream; of several who ask at once, for one.
-- KEYS[1]   plan-changes   KEYS[2] plan-changes:rejected   KEYS[3] where the entry is set aside
-- ARGV[1]   its id in plan-changes:rejected   ARGV[2…] fields and values of the new entry
-- Reply     the new entry's id, nil if it was replayed already
local call = redis.call

if call('XDEL', KEYS[2], ARGV[1]) == 0 then
    return nil
end
call('DEL', KEYS[3])
return call('XADD', KEYS[1], '*', unpack(ARGV, 2))
