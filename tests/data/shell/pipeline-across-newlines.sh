echo a |
  cat |

  cat
