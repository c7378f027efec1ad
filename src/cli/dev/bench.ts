import { run } from './tools.ts'

// `npm run bench -- loop` measures editing and rebuilding, `store` small blocks on disk, `blocks` blocks between nodes, `slow-link`
// what compressing them gains, `who-has` what it costs to know who has what, `join` how long three machines take from nothing to a
// build across them, `kick` how fast somebody is shut out, `reconnect` how fast members meet again, `lend` what guests cost their host,
// `kinds` how much of a build others can take over, `audits` whether anybody is accused who is honest;
// anything else building from nothing.
const sections: Readonly<Record<string, string>> = {
  loop: 'loop',
  store: 'store',
  blocks: 'blocks',
  'slow-link': 'slow-link',
  'who-has': 'who-has',
  audits: 'audits',
  join: 'join',
  kick: 'kick',
  reconnect: 'reconnect',
  lend: 'lend',
  kinds: 'kinds',
}
const [first = '', ...rest] = process.argv.slice(2)
const section = sections[first]
const args = section === undefined ? process.argv.slice(2) : rest
process.exitCode = await run(process.execPath, [`test/bench/${section ?? 'main'}.ts`, ...args])
