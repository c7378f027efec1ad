import { readdirSync, statSync } from 'node:fs'
import { join } from 'node:path'
import { setImmediate } from 'node:timers/promises'
import { Macros } from './hostile-support.ts'
import { Lender } from './support.ts'

// A lender in a process of its own, with one guest. Arguments: the body of a macro, which makes the file `made` beside its outputs
// when it is at work. Says then where all of it lies.
const lender = new Lender()
await lender.start()
process.stdout.write(`${lender.executor.tier}\n`)
const macros = new Macros(lender, { attack: process.argv[2] ?? '' })
let isOver = false
const running = macros.run('attack').finally(() => {
  isOver = true
})
const work = join(lender.dir, 'work')
const isMade = (): boolean =>
  readdirSync(work).some((name) => statSync(join(work, name, 'out/made'), { throwIfNoEntry: false }) !== undefined)
while (!isOver && !isMade()) await setImmediate()
process.stdout.write(`${lender.dir}\n`)
await running
