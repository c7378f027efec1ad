import { styleText } from 'node:util'
import type { Command } from 'commander'
import { printable } from '../../base/errors.ts'
import { examineAll } from '../doctor/examine.ts'
import type { Finding, Level } from '../doctor/finding.ts'
import { exitCodes } from '../failure.ts'
import { type Io, print, printJson } from '../io.ts'
import { counted } from '../render.ts'

const colours = { ok: 'green', warn: 'yellow', fail: 'red' } as const satisfies Record<Level, string>

export function addDoctor(program: Command, io: Io, done: (exitCode: number) => void): void {
  program
    .command('doctor')
    .description('look at everything that Shoal depends on here, and say what mends what is wrong')
    .option('--fix', 'mend what needs neither root nor an answer: the shim, own directories')
    .option('--json', 'as JSON')
    .action(async (options: { fix?: true; json?: true }) => {
      const version = program.version() ?? ''
      const checks = await examineAll(io, { fix: options.fix ?? false, version, cwd: process.cwd() })
      const worst = worstOf(checks)
      if (options.json) printJson(io, { result: worst, checks })
      else for (const line of checks.flatMap((finding) => linesOf(io, finding))) io.stdout.write(`${line}\n`)
      if (!options.json) print(io, closing(checks))
      done({ ok: exitCodes.ok, warn: exitCodes.degraded, fail: exitCodes.failed }[worst])
    })
}

function worstOf(checks: readonly Finding[]): Level {
  return (['fail', 'warn'] as const).find((level) => checks.some((finding) => finding.level === level)) ?? 'ok'
}

function linesOf(io: Io, { check, level, what, why, mend }: Finding): string[] {
  const label = level.padEnd(4)
  const shown = io.interactive ? styleText(colours[level], label, { validateStream: false }) : label
  const plain = [check, [what, why].filter((text) => text !== '').join('; ')].join(': ')
  return [`${shown}  ${printable(plain)}`, ...mend.map((command) => `        ${printable(command)}`)]
}

function closing(checks: readonly Finding[]): string {
  const count = (level: Level): number => checks.filter((finding) => finding.level === level).length
  if (worstOf(checks) === 'ok') return `All ${checks.length} checks are well.`
  const parts = [counted(count('fail'), 'failure'), counted(count('warn'), 'warning')]
  return `${parts.join(', ')} in ${counted(checks.length, 'check')}. The indented lines mend them.`
}
