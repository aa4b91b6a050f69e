'use strict';
const job = require('./job');
const AMI = require('yana');

const ami = new AMI({ host: job.host, port: job.port, login: job.user, password: job.secret });
ami.on('event', (e) => job.event(e.Event, e.Channel));

function send(action) {
  return new Promise((resolve, reject) => {
    ami.send(action, (res) => (res.Response === 'Error' ? reject(new Error(res.Message)) : resolve(res)));
  });
}

job.run({
  login: () => new Promise((resolve, reject) => {
    ami.on('error', (err) => reject(new Error(err)));
    ami.connect(() => resolve(ami.version));
  }),
  ping: () => send({ Action: 'Ping' }),
  list: () => new Promise((resolve) => {
    const items = [];
    ami.send({ Action: 'CoreShowChannels' }, (e) => {
      if (e.Event === 'CoreShowChannel') items.push(e);
      if (e.EventList === 'Complete') resolve({ items, end: e });
    });
  }),
  command: () => send({ Action: 'Command', Command: job.COMMAND })
    .then((res) => ({ response: res, output: res.Output || res.CMD })),
  originate: () => send({ Action: 'Originate', ...job.originate }),
  logoff: () => new Promise((resolve) => ami.disconnect(resolve)),
});
