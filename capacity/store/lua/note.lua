#!lua
-- Writes an entry into the ledger of an account that the desk has; nothing else changes.
-- KEYS[1]   the account at the desk   KEYS[2] its ledger
-- ARGV[1]   the entry, JSON
-- Reply     1 if it was written
if redis.call('EXISTS', KEYS[1]) == 0 then
    return 0
end
redis.call('XADD', KEYS[2], '*', 'entry', ARGV[1])
return 1
