echo if then else fi do done { } ! case esac
x=if; echo $x
