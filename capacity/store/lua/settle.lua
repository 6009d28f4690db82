#!lua
-- Takes an entry off the group's hands and writes its verdict down; a rejected one is set aside, from where it can be replayed.
-- Once: who handled an entry that somebody else has settled meanwhile changes nothing.
-- KEYS[1]   plan-changes   KEYS[2] plan-changes:verdicts   KEYS[3] plan-changes:rejected   KEYS[4] where the entry is set aside
-- ARGV[1]   consumer group   ARGV[2] entry id   ARGV[3] how many of the following are the verdict's
-- ARGV[4…]  fields and values of the verdict, then those of what is set aside, if anything is
-- Reply     1 if this call settled it
local WEEK_MS = 604800000
local call = redis.call
local last = 3 + tonumber(ARGV[3])

if call('XACK', KEYS[1], ARGV[1], ARGV[2]) == 0 then
    return 0
end
call('XADD', KEYS[2], '*', unpack(ARGV, 4, last))
if #ARGV > last then
    local aside = call('XADD', KEYS[3], '*', unpack(ARGV, last + 1))
    call('SET', KEYS[4], aside, 'PX', WEEK_MS)
end
return 1
