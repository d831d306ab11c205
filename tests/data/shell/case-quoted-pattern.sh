x='a*'
case 'a*' in "$x") echo literal ;; esac
case abc in "$x") echo no ;; $x) echo pattern ;; esac
case 'a?c' in a\?c) echo escaped ;; esac
