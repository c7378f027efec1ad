import { run } from './tools.ts'

// `npm run bench -- loop` measures editing and rebuilding, anything else building from nothing.
const [first, ...rest] = process.argv.slice(2)
const isLoop = first === 'loop'
const file = isLoop ? 'test/bench/loop.ts' : 'test/bench/main.ts'
process.exitCode = await run(process.execPath, [file, ...(isLoop ? rest : process.argv.slice(2))])
