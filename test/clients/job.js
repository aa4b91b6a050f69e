'use strict';
// The job that every driver here does with its library, for those in JavaScript.
//
//   node DRIVER HOST PORT USER SECRET CHANNEL
//
// A driver gives run one function a step, each of which returns a promise of what the
// library showed. run prints a line of JSON for each: {"step": "ping", "ok": true,
// "saw": ...}, or {"step": "ping", "ok": false, "why": ...} when that promise fails or
// does not settle. Between originate and logoff it waits for the end of the call, whose
// events the driver passes to event: those of both channels of CHANNEL, a Local one
// that the test gives to this driver only.

const LIMIT = 20000; // ms for one step. Only a step that fails waits it out.

const [host, port, user, secret, channel] = process.argv.slice(2);
const originate = { Channel: channel, Context: 'clients', Exten: 'job', Priority: 1, Async: 'true' };
const COMMAND = 'core show channeltypes';

const seen = []; // [name, channel] of every event of the call.
let ended = () => {};

// event takes an event that the library showed.
function event(name, of) {
  if (!of || !of.startsWith(channel + '-')) return;
  seen.push([name, of]);
  if (hungUp()) ended();
}

// hungUp tells whether both channels of the call are gone.
function hungUp() {
  return seen.filter(([name]) => name === 'Hangup').length === 2;
}

function events() {
  return new Promise((resolve) => {
    ended = () => resolve(seen);
    if (hungUp()) ended();
  });
}

// fenced fails when the answer to a Ping sent later comes first: then that of promise,
// which Asterisk sends in order, was there and the library did not show it.
function fenced(promise, ping) {
  const passed = ping.then(() => new Promise((resolve) => setImmediate(resolve)))
    .then(() => { throw new Error('the library shows no answer'); });
  return Promise.race([promise, passed]);
}

async function run(steps) {
  for (const step of ['login', 'ping', 'list', 'command', 'originate', 'events', 'logoff']) {
    let late;
    try {
      const limit = new Promise((_, reject) => {
        late = setTimeout(() => reject(new Error('not done in time')), LIMIT);
      });
      const saw = await Promise.race([(steps[step] || events)(), limit]);
      console.log(JSON.stringify({ step, ok: true, saw: saw === undefined ? null : saw }));
    } catch (err) {
      console.log(JSON.stringify({ step, ok: false, why: String(err && err.message || err) }));
      if (step === 'login') break;
    } finally {
      clearTimeout(late);
    }
  }
  process.exit();
}

module.exports = { host, port, user, secret, originate, COMMAND, event, fenced, run };
