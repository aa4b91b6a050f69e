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
	const table = new ChannelTable($('rows'), [
		{ text: 'Transfer', action: 'redirect', press: openTransfer },
		{ text: 'Hang up', action: 'hangup', press: openHangup },
	]);
	const servers = new Set();
	const calls = new Map(); // Originates under way: what was called, by ActionID.
	let may = () => false; // Whether the user may send an action, by its name in lower case.

	// All tabs of a browser have one cookie, which is one session. Who has logged in, a
	// random number and the user, is in localStorage for all of them: taken away before
	// a login and a logoff, and put there once a login was accepted.
	const whoKey = 'amiproxy-login';
	const whoNow = () => localStorage.getItem(whoKey) || '';
	const userOf = (text) => text.slice(text.indexOf(' ') + 1) || 'unknown user';
	let who = ''; // As it was when this tab began to show the session.

	// forget takes away who has logged in, unless it is somebody else by now.
	function forget(text) {
		if (text === whoNow()) {
			localStorage.removeItem(whoKey);
		}
		who = whoNow();
	}

	function show(id, text) { $(id).textContent = text; }
	function fail(text) { show('notice', ''); show('error', text); }
	function tell(text) { show('error', ''); show('notice', text); }

	// ask runs an action and returns its messages, or nothing once it has shown the
	// error. what says what was tried.
	async function ask(what, action) {
		if (who !== whoNow()) {
			changed();
			return null;
		}
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

	// enter shows the channels, leave the login. why, if there is one, is shown with them.
	async function enter(why) {
		login++;
		who = whoNow();
		$('login').hidden = true;
		$('live').hidden = $('who').hidden = false;
		show('user', userOf(who));
		allow(() => false);
		$('count').focus();
		await refresh();
		if (why) {
			fail(why);
		}
	}

	// changed leaves when another tab has logged in or off: what this one shows is not
	// what it would do.
	function changed() {
		who = whoNow();
		leave();
		fail(who ? `Another tab of this browser has logged in as ${userOf(who)}, and all have one login. Reload this page to go on as that user.` :
			'Another tab of this browser has logged off.');
	}

	// allow shows what the user can do.
	function allow(test) {
		may = test;
		$('originate').hidden = !may('originate');
		document.body.classList.toggle('acts', may('redirect') || may('hangup'));
		render();
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
		const commands = await ask('ListCommands', { Action: 'ListCommands' });
		if (mine !== login) {
			return;
		}
		allow((name) => !commands || name in commands[0].headers);
		const msgs = may('status') ? await ask('Status', { Action: 'Status' }) : null;
		if (mine !== login) {
			return;
		}
		if (!may('status')) {
			tell('You may not ask which channels there are (Status): those that begin from now on are shown.');
		} else if (msgs) {
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
			forget(who);
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

	// render shows the channels as they are now.
	function render() {
		const list = ami.channelList();
		if (table.render(list, may)) {
			$('count').focus();
		}
		show('count', list.length === 0 ? 'No channels' : list.length === 1 ? '1 channel' : `${list.length} channels`);
		$('channels').hidden = list.length === 0;
	}

	let target = null; // The channel that an open dialog is about.

	function openTransfer(c) {
		target = c;
		const dialog = $('transfer'), form = dialog.querySelector('form');
		form.reset();
		dialog.querySelector('.name').textContent = placeOf(c);
		dialog.querySelector('.link').textContent = c.link || '';
		dialog.querySelector('.check').hidden = !c.link;
		form.elements.context.value = c.context || 'default';
		dialog.showModal();
	}

	function openHangup(c) {
		target = c;
		$('hangup').querySelector('.name').textContent = placeOf(c);
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
		if (!await ask(`Call ${action.Channel} and connect it to ${action.Exten}@${action.Context}`, withServer(action, form.server.value))) {
			calls.delete(id);
		}
	});

	// alive reports whether this browser has logged in already.
	async function alive() {
		try {
			const [answer] = await ami.request({ Action: 'Ping' });
			return answer !== undefined && answer.headers.response !== 'Error';
		} catch (error) {
			fail(`No connection to the server (${error.message}).`);
			return false;
		}
	}

	$('login').addEventListener('submit', async (event) => {
		event.preventDefault();
		const form = event.target, user = form.elements.username.value, button = form.querySelector('button');
		const already = () => enter(`Not logged in as ${user}: this browser has logged in as ${userOf(whoNow())} already, in all of its tabs. Log off first.`);
		button.disabled = true;
		tell('Logging in.');
		if (await alive()) {
			already();
		} else {
			forget(whoNow());
			const msgs = await ask('Log in', { Action: 'Login', Username: user, Secret: form.elements.secret.value });
			if (msgs && /already/i.test(msgs[0].headers.message)) { // Another tab was faster.
				already();
			} else if (msgs) {
				tell('');
				localStorage.setItem(whoKey, `${Math.random()} ${user}`);
				enter();
			}
		}
		button.disabled = false;
		if ($('live').hidden) {
			form.elements.secret.focus(); // A button that was disabled has lost it.
			form.elements.secret.select();
		} else {
			form.elements.secret.value = '';
		}
	});

	$('logoff').addEventListener('click', async () => {
		if (who !== whoNow()) {
			changed();
			return;
		}
		const before = who, mine = login;
		forget(before);
		polling++; // the WaitEvent under way may end first, and the next would be refused
		followed = -1;
		if (await ask('Log off', { Action: 'Logoff' })) {
			leave();
			tell('Logged off.');
		} else if (!$('live').hidden) {
			localStorage.setItem(whoKey, before);
			who = before;
			poll(mine);
		}
	});

	window.addEventListener('storage', (event) => {
		if (event.key === whoKey && who !== whoNow()) {
			changed();
		}
	});
	$('refresh').addEventListener('click', () => refresh());
	setInterval(() => table.tick(), 1000);

	// A session of before may live still.
	async function begin() {
		$('plain').hidden = window.isSecureContext;
		const before = whoNow();
		if (await alive()) {
			enter();
		} else {
			forget(before);
			who = whoNow();
			$('login').hidden = false;
			$('login').elements.username.focus();
		}
	}
	begin();
})();
