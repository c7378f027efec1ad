/**
 * Fields of `/proc/PID/stat` (proc_pid_stat(5)) from the third on: state, parent, … The second is the program's name in brackets and may hold
 * anything, brackets too. Field n of the manual is at n - 3; of an empty text all are missing.
 */
export const statFields = (stat: string): string[] => stat.slice(stat.lastIndexOf(')') + 2).split(' ')
