//! What must happen in one step, in Redis's own language. Every time in them is Redis's.

use fred::types::scripts::Script;

/// `KEYS`: the entry, then the generation of each scope it stands on. `ARGV`: a new generation, and
/// how long generations live in milliseconds. A scope without a generation gets the new one: it can
/// equal none that an entry was kept under.
///
/// Gives the stamp (all generations), the time in milliseconds, and, when the entry has this very
/// stamp, its life left in milliseconds and its body.
const RECALL: &str = r"
local generations = {}
for i = 2, #KEYS do
  local generation = redis.call('GET', KEYS[i])
  if not generation then
    generation = ARGV[1]
    redis.call('SET', KEYS[i], generation, 'PX', ARGV[2])
  end
  generations[i - 1] = generation
end
local stamp = table.concat(generations, ' ')
local time = redis.call('TIME')
local now = time[1] * 1000 + math.floor(time[2] / 1000)
local entry = redis.call('HMGET', KEYS[1], 'stamp', 'body')
if entry[1] == stamp then
  return {stamp, now, redis.call('PTTL', KEYS[1]), entry[2]}
end
return {stamp, now, 0, ''}
";

/// `KEYS`: the entry. `ARGV`: stamp, body, and the time in milliseconds at which it ends, so that a
/// command that comes late keeps nothing for longer.
const KEEP: &str = r"
local time = redis.call('TIME')
local left = tonumber(ARGV[3]) - (time[1] * 1000 + math.floor(time[2] / 1000))
if left <= 0 then
  return 0
end
redis.call('HSET', KEYS[1], 'stamp', ARGV[1], 'body', ARGV[2])
redis.call('PEXPIRE', KEYS[1], left)
return 1
";

/// `KEYS`: the scopes' generations. `ARGV`: the channel, then a message for each scope.
const REVOKE: &str = r"
redis.call('DEL', unpack(KEYS))
for i = 2, #ARGV do
  redis.call('PUBLISH', ARGV[1], ARGV[i])
end
return #KEYS
";

/// `KEYS`: the address's counter. `ARGV`: the most failures, and the window in milliseconds. Gives 0
/// when the login may begin, the milliseconds to wait when too many failed, -1 when too many are
/// under way.
const LOGIN_BEGINS: &str = r"
local failed = tonumber(redis.call('HGET', KEYS[1], 'failed') or '0')
local under_way = tonumber(redis.call('HGET', KEYS[1], 'under_way') or '0')
local most = tonumber(ARGV[1])
if failed >= most then
  return math.max(redis.call('PTTL', KEYS[1]), 1)
end
if failed + under_way >= most then
  return -1
end
redis.call('HINCRBY', KEYS[1], 'under_way', 1)
if redis.call('PTTL', KEYS[1]) < 0 then
  redis.call('PEXPIRE', KEYS[1], ARGV[2])
end
return 0
";

/// `KEYS`: the address's counter. `ARGV`: `succeeded`, `failed` or `abandoned`, and the window in
/// milliseconds, which begins with the first failure.
const LOGIN_ENDS: &str = r"
local failed = tonumber(redis.call('HGET', KEYS[1], 'failed') or '0')
local under_way = tonumber(redis.call('HGET', KEYS[1], 'under_way') or '0')
under_way = math.max(under_way - 1, 0)
if ARGV[1] == 'failed' then
  failed = failed + 1
elseif ARGV[1] == 'succeeded' then
  failed = 0
end
if failed == 0 and under_way == 0 then
  return redis.call('DEL', KEYS[1])
end
redis.call('HSET', KEYS[1], 'failed', failed, 'under_way', under_way)
if redis.call('PTTL', KEYS[1]) < 0 or (failed == 1 and ARGV[1] == 'failed') then
  redis.call('PEXPIRE', KEYS[1], ARGV[2])
end
return failed
";

/// `KEYS`: the counter of a minute that begins with the first use. `ARGV`: the most uses. Gives 0, or
/// the milliseconds to wait.
const ADMIT: &str = r"
local used = tonumber(redis.call('GET', KEYS[1]) or '0')
if used >= tonumber(ARGV[1]) then
  return math.max(redis.call('PTTL', KEYS[1]), 1)
end
if redis.call('INCR', KEYS[1]) == 1 then
  redis.call('PEXPIRE', KEYS[1], 60000)
end
return 0
";

#[derive(Debug)]
pub(super) struct Scripts {
    pub(super) recall: Script,
    pub(super) keep: Script,
    pub(super) revoke: Script,
    pub(super) login_begins: Script,
    pub(super) login_ends: Script,
    pub(super) admit: Script,
}

impl Scripts {
    pub(super) fn new() -> Self {
        Self {
            recall: Script::from_lua(RECALL),
            keep: Script::from_lua(KEEP),
            revoke: Script::from_lua(REVOKE),
            login_begins: Script::from_lua(LOGIN_BEGINS),
            login_ends: Script::from_lua(LOGIN_ENDS),
            admit: Script::from_lua(ADMIT),
        }
    }
}
