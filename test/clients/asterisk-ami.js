'use strict';
const job = require('./job');
const AsteriskAmi = require('asterisk-ami');

const ami = new AsteriskAmi({ host: job.host, port: job.port, username: job.user, password: job.secret });
ami.on('ami_data', (data) => job.event(data.event, data.channel));

// The library leaves it to its user to find the answer among all that comes.
let actions = 0;
function send(action, ActionID = 'job-' + ++actions) {
  return new Promise((resolve, reject) => {
    ami.on('ami_data', function answer(data) {
      if (data.actionid !== ActionID || !data.response) return;
      ami.removeListener('ami_data', answer);
      if (data.response === 'Error') reject(new Error(data.message));
      else resolve(data);
    });
    ami.send({ ...action, ActionID });
  });
}

job.run({
  login: () => new Promise((resolve, reject) => {
    ami.on('ami_login', (ok, data) => (ok ? resolve(data) : reject(new Error(data.message))));
    ami.connect();
  }),
  ping: () => send({ action: 'Ping' }),
  list: () => new Promise((resolve, reject) => {
    const items = [];
    ami.on('ami_data', (data) => {
      if (data.actionid !== 'channels') return;
      if (data.event === 'CoreShowChannel') items.push(data);
      if (data.eventlist === 'Complete') resolve({ items, end: data });
    });
    send({ action: 'CoreShowChannels' }, 'channels').catch(reject);
  }),
  command: () => send({ action: 'Command', command: job.COMMAND }).then((res) => ({ response: res, output: res.output })),
  originate: () => send({ action: 'Originate', ...job.originate }),
  logoff: () => {
    const closed = new Promise((resolve) => ami.once('ami_socket_close', resolve));
    return send({ action: 'Logoff' }).then((res) => closed.then(() => res));
  },
});
