import { run } from './tools.ts'

// `npm run bench -- loop` measures editing and rebuilding, `store` small blocks on disk, `blocks` blocks between nodes, `slow-link`
// what compressing them gains, `who-has` what it costs to know who has what, `join` how long three machines take from nothing to a
// build across them, `kick` how fast somebody is shut out, `reconnect` how fast members meet again, `lend` what guests cost their host,
// `audits` whether anybody is accused who is honest, `liar` how soon somebody is who lies, `kinds` what of a build others can take over,
// `mesh` how much faster more machines are, `cost` what a node costs a build in processor time, `alone` what a mesh that cannot help costs it by the clock, `faults` what the loss of a lender costs a build, `builders` how
// several builders share their machines, `scripts` what is recalled of published build scripts, `launcher` what it costs to ask about one; none of these, building from nothing.
const sections: readonly string[] = [
  'loop',
  'store',
  'blocks',
  'slow-link',
  'who-has',
  'audits',
  'liar',
  'join',
  'kick',
  'reconnect',
  'lend',
  'kinds',
  'mesh',
  'cost',
  'alone',
  'faults',
  'builders',
  'scripts',
  'launcher',
]
const [first = '', ...rest] = process.argv.slice(2)
if (sections.includes(first)) process.exitCode = await run(process.execPath, [`test/bench/${first}.ts`, ...rest])
else if (first === '' || first.startsWith('-')) {
  process.exitCode = await run(process.execPath, ['test/bench/main.ts', ...process.argv.slice(2)])
} else {
  process.stderr.write(`there is no bench called ${first}, but: ${sections.join(', ')}\n`)
  process.exitCode = 2
}
