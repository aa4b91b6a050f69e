# The job of job.js with panoramisk; arguments and output are the same.
import asyncio
import json
import sys

from panoramisk import Manager

LIMIT = 20  # Seconds for one step. Only a step that fails waits it out.

host, port, user, secret, channel = sys.argv[1:]


def show(messages):
    if isinstance(messages, list):
        return [show(m) for m in messages]
    return dict(messages.items())


def answered(messages):
    first = messages[0] if isinstance(messages, list) else messages
    if first.response == 'Error':
        raise RuntimeError(first.message)
    return messages


async def main():
    loop = asyncio.get_running_loop()
    logged_in, hung_up, closed = (loop.create_future() for _ in range(3))
    seen = []
    manager = Manager(
        loop=loop, host=host, port=port, username=user, secret=secret,
        on_login=lambda manager: logged_in.set_result('connected'),
        on_disconnect=lambda manager, err: closed.set_result(None))

    @manager.register_event('*')
    def event(manager, message):
        if message.channel.startswith(channel + '-'):
            seen.append([message.event, message.channel])
            if [name for name, _ in seen].count('Hangup') == 2:
                hung_up.set_result(seen)

    async def send(action):
        return answered(await manager.send_action(action))

    async def login():
        await manager.connect()
        return await logged_in

    async def ping():
        return show(await send({'Action': 'Ping'}))

    async def channels():
        messages = await send({'Action': 'CoreShowChannels'})
        return {'items': show(messages[1:-1]), 'end': show(messages[-1])}

    async def command():
        message = answered(await manager.send_command('core show channeltypes'))
        return {'response': show(message), 'output': message.output or message.content}

    async def originate():
        # The library takes the OriginateResponse for a part of the answer.
        return show(await send({
            'Action': 'Originate', 'Channel': channel, 'Context': 'clients',
            'Exten': 'job', 'Priority': 1, 'Async': 'true'}))

    async def events():
        return await hung_up

    async def logoff():
        message = await send({'Action': 'Logoff'})
        await closed
        return show(message)

    steps = [('login', login), ('ping', ping), ('list', channels), ('command', command),
             ('originate', originate), ('events', events), ('logoff', logoff)]
    for name, step in steps:
        try:
            saw = await asyncio.wait_for(step(), LIMIT)
            line = {'step': name, 'ok': True, 'saw': saw}
        except Exception as err:
            line = {'step': name, 'ok': False, 'why': str(err) or type(err).__name__}
        print(json.dumps(line), flush=True)
        if name == 'login' and not line['ok']:
            break
    manager.close()


asyncio.run(main())
