import type { Command } from 'commander'
import { askNode } from '../client.ts'
import { type Io, print, printJson } from '../io.ts'
import { reportLines, sessionLines } from '../report-text.ts'
import { reportShape, sessionsShape, shaped } from '../shapes.ts'

interface ReportOptions {
  json?: true
  all?: true
  list?: true
}

export function addReport(program: Command, io: Io): void {
  program
    .command('report')
    .description('what became of the units of a build, and why')
    .argument('[session]', 'the id of a build, or its beginning', 'last')
    .option('--all', 'every unit, not only the longest')
    .option('--list', 'the builds that this node remembers')
    .option('--json', 'as JSON')
    .action(async (id: string, options: ReportOptions) => {
      if (options.list) {
        const answer = shaped(sessionsShape, await askNode(io, 'sessions'), 'sessions')
        if (options.json) return printJson(io, answer)
        for (const line of sessionLines(answer.sessions)) print(io, line)
        return
      }
      const report = shaped(reportShape, await askNode(io, 'report', { id }), 'report')
      if (options.json) return printJson(io, report)
      for (const line of reportLines(report, { all: options.all ?? false })) print(io, line)
    })
}
