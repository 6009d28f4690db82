#!lua
-- Commits one step of the billing desk for an account: all of it, or nothing if somebody else was faster.
-- KEYS[1]   the account at the desk   KEYS[2] its ledger   KEYS[3] due   KEYS[4] plan-changes   KEYS[5] notices
-- KEYS[6]   the purchase that the step belongs to (only written if ARGV[6] is not '')
-- ARGV[1]   account   ARGV[2] the revision that was read, '' for an account that is new   ARGV[3] the new one, never used before
-- ARGV[4]   the account's new state, JSON, or '' if it leaves the desk   ARGV[5] when it is due again, ms, or '' for never
-- ARGV[6]   the purchase, JSON, or ''   ARGV[7] for how long it is kept, ms
-- ARGV[8]   the plan-changed event, or ''   ARGV[9] what prices are estimated from, JSON, goes with the event
-- ARGV[10]  how many ledger entries follow   ARGV[11…] ledger entries, then notices
-- Reply     1 if it was committed, 0 if the revision is another by now
local NOTICES_MAX = 100000
local call = redis.call
local account, revision, following, state, due, purchase, purchase_ms, event, desk, entries = unpack(ARGV, 1, 10)
entries = tonumber(entries)

if (call('HGET', KEYS[1], 'revision') or '') ~= revision then
    return 0
end
if state == '' then
    call('DEL', KEYS[1])
else
    call('HSET', KEYS[1], 'revision', following, 'state', state)
end
for number = 1, entries do
    call('XADD', KEYS[2], '*', 'entry', ARGV[10 + number])
end
for number = 11 + entries, #ARGV do
    call('XADD', KEYS[5], 'MAXLEN', '~', NOTICES_MAX, '*', 'event', ARGV[number])
end
if due == '' then
    call('ZREM', KEYS[3], account)
else
    call('ZADD', KEYS[3], due, account)
end
if purchase ~= '' then
    call('SET', KEYS[6], purchase, 'PX', purchase_ms)
end
if event ~= '' then
    call('XADD', KEYS[4], '*', 'event', event, 'desk', desk)
end
return 1
