'use strict';
const job = require('./job');

const ami = require('asterisk-manager')(job.port, job.host, job.user, job.secret, true);
ami.on('managerevent', (e) => job.event(e.event, e.channel));

function action(headers) {
  return new Promise((resolve, reject) => {
    ami.action(headers, (err, res) => (err ? reject(err) : resolve(res)));
  });
}

job.run({
  login: () => new Promise((resolve) => ami.once('response', resolve)),
  ping: () => action({ action: 'ping' }),
  list: () => new Promise((resolve, reject) => {
    const items = [];
    let id;
    ami.on('coreshowchannel', (e) => { if (e.actionid === id) items.push(e); });
    ami.on('coreshowchannelscomplete', (e) => { if (e.actionid === id) resolve({ items, end: e }); });
    id = ami.action({ action: 'coreshowchannels' }, (err) => { if (err) reject(err); });
  }),
  command: () => action({ action: 'command', command: job.COMMAND }).then((res) => ({ response: res, output: res.output || res.content })),
  originate: () => action({ action: 'originate', ...job.originate }),
  logoff: () => {
    const closed = new Promise((resolve) => ami.once('close', resolve));
    return action({ action: 'logoff' }).then((res) => closed.then(() => res));
  },
});
