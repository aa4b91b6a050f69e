// The live page: log in, see all channels as they come and go, originate, transfer and
// hang up, by AMI over HTTP alone. All that comes from a PBX is shown as text.
'use strict';

(() => {
	const ami = astmanEngine;
	const $ = (id) => document.getElementById(id);
	const pause = (ms) => new Promise((done) => setTimeout(done, ms));

	const retryFirst = 1000, retryMost = 15000; // Milliseconds between attempts to connect.
	const soon = 500; // A WaitEvent that ends sooner with nothing has not waited.

	let login = 0; // Counts logins and logoffs: who waited since an earlier one gives up.
	let polling = 0; // The same, for who waits for events.
	let followed = -1; // The login whose events are waited for.
	let since = null; // While a Status is under way: the events since it was sent.
	let again = false; // Another Status is to follow that one.
	const rows = new Map(); // By server and name of the channel.
	const servers = new Set();
	const calls = new Map(); // Originates under way: what was called, by ActionID.

	function show(id, text) { $(id).textContent = text; }
	function fail(text) { show('notice', ''); show('error', text); }
	function tell(text) { show('error', ''); show('notice', text); }

	// ask runs an action and returns its messages, or nothing once it has shown the
	// error. what says what was tried.
	async function ask(what, action) {
		const mine = login;
		let msgs;
		try {
			msgs = await ami.request(action);
		} catch (error) {
			fail(`${what}: no answer from the server (${error.message}). Is it running? Try again.`);
			return null;
		}
		if (mine !== login) {
			return null;
		}
		learn(msgs);
		const answer = msgs.length > 0 ? msgs[0].headers : {};
		if (answer.response === 'Error' || answer.response === undefined) {
			const why = answer.message || 'no answer';
			fail(`${what}: ${why}`);
			if (/server header required|say server/i.test(why)) {
				document.body.classList.add('servers');
				$('originate').elements.server.focus();
			}
			return null;
		}
		return msgs;
	}

	// learn notes which servers there are. Messages name them if there are several.
	function learn(msgs) {
		for (const { headers } of msgs) {
			if (headers.server && !servers.has(headers.server)) {
				servers.add(headers.server);
				document.body.classList.add('servers');
				const option = document.createElement('option');
				option.value = headers.server;
				$('servers').append(option);
			}
		}
	}

	// withServer adds the server to an action, if there is one.
	function withServer(action, server) {
		return server ? { ...action, Server: server } : action;
	}

	// enter shows the channels, leave the login. user is empty if it is not known.
	function enter(user) {
		login++;
		$('login').hidden = true;
		$('live').hidden = $('who').hidden = false;
		show('user', user);
		$('count').focus();
		refresh();
	}

	function leave() {
		login++;
		polling++;
		followed = -1;
		since = null;
		ami.channelClear();
		calls.clear();
		servers.clear();
		$('servers').replaceChildren();
		document.body.classList.remove('servers');
		render();
		$('transfer').close();
		$('hangup').close();
		$('live').hidden = $('who').hidden = true;
		$('login').hidden = false;
		$('login').elements.secret.value = '';
		$('login').elements.username.focus();
	}

	// refresh asks for all channels. Events come meanwhile, or have come in before and
	// are of later than the answer: those since it was sent are told to it again.
	async function refresh() {
		if (since) {
			again = true;
			return;
		}
		const mine = login;
		since = [];
		const msgs = await ask('Status', { Action: 'Status' });
		if (mine !== login) {
			return;
		}
		if (msgs) {
			ami.channelClear();
			for (const msg of msgs.concat(since)) {
				if (msg.headers.event) {
					ami.channelUpdate(msg);
				}
			}
			const missing = msgs[msgs.length - 1].headers.missing;
			tell(missing ? `No answer from ${missing}: its channels are not shown.` : '');
		}
		since = null;
		render();
		poll(mine);
		if (again) {
			again = false;
			refresh();
		}
	}

	// poll waits for events until somebody else does, or the session ends.
	async function poll(mine) {
		if (followed === mine) {
			return;
		}
		followed = mine;
		const turn = ++polling;
		await follow(mine, turn);
		if (turn === polling) {
			followed = -1;
		}
	}

	async function follow(mine, turn) {
		let retry = retryFirst, lost = false;
		for (;;) {
			const began = performance.now();
			let msgs;
			try {
				msgs = await ami.request({ Action: 'WaitEvent' });
			} catch (error) {
				if (turn !== polling) {
					return;
				}
				fail(`No connection to the server (${error.message}). Trying again.`);
				lost = true;
				await pause(retry);
				retry = Math.min(2 * retry, retryMost);
				continue;
			}
			if (turn !== polling || mine !== login) {
				return;
			}
			if (!take(msgs)) {
				return;
			}
			if (lost) {
				tell('');
				refresh();
			}
			retry = retryFirst;
			lost = false;
			if (msgs.length <= 2 && performance.now() - began < soon) {
				await pause(retryFirst);
			}
		}
	}

	// take takes the answer to a WaitEvent, and reports whether there will be more.
	function take(msgs) {
		if (msgs.length === 0) {
			fail('Another page of this login takes the events now. Refresh takes them back.');
			return false;
		}
		if (msgs[0].headers.response === 'Error') {
			leave();
			fail(`The session has ended (${msgs[0].headers.message}). Log in again.`);
			return false;
		}
		learn(msgs);
		for (const msg of msgs) {
			if (msg.headers.event) {
				if (since) {
					since.push(msg);
				}
				ami.channelUpdate(msg);
				notice(msg.headers);
			}
		}
		render();
		return true;
	}

	// notice acts on events that are not of channels alone.
	function notice(h) {
		switch (h.event) {
		case 'OriginateResponse':
			if (calls.has(h.actionid)) {
				if (h.response !== 'Failure') {
					tell(`${calls.get(h.actionid)} has answered.`);
				} else {
					fail(`The call to ${calls.get(h.actionid)} failed${reasons[h.reason] ? ': ' + reasons[h.reason] : ''}.`);
				}
				calls.delete(h.actionid);
			}
			break;
		case 'ProxyServerState':
			if (h.state === 'Up') {
				tell(`${h.server || 'The PBX'} is connected.`);
				refresh();
			} else {
				ami.channelClear(h.server || '');
				fail(`${h.server || 'The PBX'} is not connected${h.reason ? ` (${h.reason})` : ''}.`);
			}
			break;
		case 'ProxyEventsLost':
			refresh();
		}
	}

	// reasons are those of OriginateResponse (frame.h: AST_CONTROL_*).
	const reasons = { 0: 'there is no such channel, or it cannot be reached', 1: 'it was hung up', 3: 'nobody answered', 5: 'busy', 8: 'congestion' };

	// since1970 is when a channel began; a Uniqueid says it in seconds.
	function since1970(c) {
		const found = /(?:^|-)(\d{9,})\.\d+$/.exec(c.uniqueid || '');
		return found ? Number(found[1]) : 0;
	}

	function age(began) {
		if (!began) {
			return '';
		}
		const s = Math.max(0, Math.floor(Date.now() / 1000) - began);
		const two = (n) => String(n).padStart(2, '0');
		return (s >= 3600 ? Math.floor(s / 3600) + ':' + two(Math.floor(s / 60) % 60) : Math.floor(s / 60)) + ':' + two(s % 60);
	}

	// makeRow makes a row without its texts.
	function makeRow() {
		const row = document.createElement('tr');
		row.setAttribute('role', 'row');
		row.cells_ = {};
		for (const [name, label] of [['server', 'Server'], ['channel', 'Channel'], ['state', 'State'], ['caller', 'Caller'],
			['extension', 'Extension'], ['link', 'Connected to'], ['time', 'Time'], ['todo', '']]) {
			const cell = document.createElement('td');
			cell.setAttribute('role', 'cell');
			cell.className = name;
			if (label) {
				cell.dataset.label = label;
			}
			row.cells_[name] = cell;
			row.append(cell);
		}
		for (const [text, dialog] of [['Transfer', openTransfer], ['Hang up', openHangup]]) {
			const button = document.createElement('button');
			button.type = 'button';
			button.textContent = text;
			button.addEventListener('click', () => dialog(row.channel_));
			row.cells_.todo.append(button);
		}
		return row;
	}

	// fill writes what has changed.
	function fill(row, c) {
		row.channel_ = c;
		row.began_ = since1970(c);
		const texts = {
			server: c.server, channel: c.channel, state: c.state || '', caller: callerOf(c), extension: locationOf(c),
			link: c.link || (c.others ? `${c.others} others` : ''), time: age(row.began_),
		};
		for (const name in texts) {
			if (row.cells_[name].textContent !== texts[name]) {
				row.cells_[name].textContent = texts[name];
			}
		}
		for (const button of row.cells_.todo.children) {
			button.setAttribute('aria-label', `${button.textContent} ${c.channel}${c.server ? ' on ' + c.server : ''}`);
		}
	}

	// render makes the table what the channels are. Rows stay the same elements, so
	// that the focus stays where it is.
	function render() {
		const list = ami.channelList();
		const left = new Set(rows.keys());
		for (const c of list) {
			const k = key(c.server, c.uniqueid || c.channel);
			left.delete(k);
			if (!rows.has(k)) {
				rows.set(k, makeRow());
				$('rows').append(rows.get(k));
			}
			fill(rows.get(k), c);
		}
		for (const k of left) {
			const focused = rows.get(k).contains(document.activeElement);
			rows.get(k).remove();
			rows.delete(k);
			if (focused) {
				$('count').focus();
			}
		}
		show('count', list.length === 0 ? 'No channels' : list.length === 1 ? '1 channel' : `${list.length} channels`);
		$('channels').hidden = list.length === 0;
	}

	let target = null; // The channel that an open dialog is about.

	function openTransfer(c) {
		target = c;
		const dialog = $('transfer'), form = dialog.querySelector('form');
		form.reset();
		dialog.querySelector('.name').textContent = c.channel;
		dialog.querySelector('.link').textContent = c.link || '';
		dialog.querySelector('.check').hidden = !c.link;
		form.elements.context.value = c.context || 'default';
		dialog.showModal();
	}

	function openHangup(c) {
		target = c;
		$('hangup').querySelector('.name').textContent = c.channel + (c.server ? ` on ${c.server}` : '');
		$('hangup').showModal();
	}

	for (const dialog of document.querySelectorAll('dialog')) {
		dialog.querySelector('.cancel').addEventListener('click', () => dialog.close());
	}

	$('hangup').querySelector('form').addEventListener('submit', async () => {
		const c = target;
		if (await ask(`Hang up ${c.channel}`, withServer({ Action: 'Hangup', Channel: c.channel }, c.server))) {
			tell(`Hung up ${c.channel}.`);
		}
	});

	$('transfer').querySelector('form').addEventListener('submit', async (event) => {
		const c = target, form = event.target.elements;
		const to = { Exten: form.exten.value, Context: form.context.value, Priority: '1' };
		const both = form.both.checked && c.link;
		const extra = both ? { ExtraChannel: c.link, ExtraExten: to.Exten, ExtraContext: to.Context, ExtraPriority: '1' } : {};
		if (await ask(`Transfer ${c.channel}`, withServer({ Action: 'Redirect', Channel: c.channel, ...to, ...extra }, c.server))) {
			tell(`Transferred ${c.channel}${both ? ' and ' + c.link : ''} to ${to.Exten}@${to.Context}.`);
		}
	});

	$('originate').addEventListener('submit', async (event) => {
		event.preventDefault();
		const form = event.target.elements, id = `live-${Date.now()}-${Math.random().toString(36).slice(2)}`;
		const action = {
			Action: 'Originate', ActionID: id, Channel: form.channel.value, Exten: form.exten.value, Context: form.context.value,
			Priority: '1', Async: 'true', Timeout: '30000',
		};
		if (form.callerid.value) {
			action.CallerID = form.callerid.value;
		}
		calls.set(id, action.Channel);
		tell(`Calling ${action.Channel}.`);
		if (!await ask(`Call ${action.Channel}`, withServer(action, form.server.value))) {
			calls.delete(id);
		}
	});

	$('login').addEventListener('submit', async (event) => {
		event.preventDefault();
		const form = event.target, user = form.elements.username.value, button = form.querySelector('button');
		button.disabled = true;
		tell('Logging in.');
		const msgs = await ask('Log in', { Action: 'Login', Username: user, Secret: form.elements.secret.value });
		button.disabled = false;
		if (msgs) {
			tell('');
			form.elements.secret.value = '';
			sessionStorage.setItem('user', user);
			enter(user);
		}
	});

	$('logoff').addEventListener('click', async () => {
		if (await ask('Log off', { Action: 'Logoff' })) {
			leave();
			tell('Logged off.');
		}
	});

	$('refresh').addEventListener('click', () => refresh());
	setInterval(() => {
		for (const row of rows.values()) {
			row.cells_.time.textContent = age(row.began_);
		}
	}, 1000);

	// A session of before may live still.
	async function begin() {
		$('plain').hidden = window.isSecureContext;
		let alive = false;
		try {
			const [answer] = await ami.request({ Action: 'Ping' });
			alive = answer && answer.headers.response !== 'Error';
		} catch (error) {
			fail(`No connection to the server (${error.message}).`);
		}
		if (alive) {
			enter(sessionStorage.getItem('user') || '');
		} else {
			$('login').hidden = false;
			$('login').elements.username.focus();
		}
	}
	begin();
})();
